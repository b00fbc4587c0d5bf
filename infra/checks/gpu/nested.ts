import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type Check, type CheckContext, verdict } from "../check.ts";
import { parseHcl, toolchain } from "../edge/toolchain.ts";
import { type Shape, shapeOf, strangeKeys } from "./keys.ts";
import { check } from "./modules.ts";

type Json = Readonly<Record<string, unknown>>;

/** One folder of Terraform files, read as one. */
interface Folder {
  readonly variables: ReadonlyMap<string, Shape>;
  readonly locals: Json;
  readonly modules: readonly { readonly name: string; readonly body: Json }[];
}

/** What Terraform itself asks of a module call. */
const META = ["source", "providers", "for_each", "count", "depends_on", "version"];

async function readFolder(packages: string, folder: string): Promise<Folder> {
  const variables = new Map<string, Shape>();
  const locals: Record<string, unknown> = {};
  const modules: { name: string; body: Json }[] = [];
  for (const name of globSync("*.tf", { cwd: folder })) {
    const hcl = (await parseHcl(packages, name, readFileSync(join(folder, name), "utf8"))) as Json;
    for (const [variable, bodies] of entries(hcl.variable)) {
      const type = String((bodies as Json[])[0]?.type ?? "any").replace(/^\$\{([\s\S]*)\}$/, "$1");
      variables.set(variable, shapeOf(type));
    }
    for (const body of (hcl.locals ?? []) as Json[]) Object.assign(locals, body);
    for (const [module, bodies] of entries(hcl.module))
      modules.push({ name: module, body: (bodies as Json[])[0] ?? {} });
  }
  return { variables, locals, modules };
}

const entries = (value: unknown) => Object.entries((value ?? {}) as Json);

/** Follows `local.a.b` to the literal that it names; anything else stays as it is. */
export function resolved(value: unknown, locals: Json): unknown {
  const match = typeof value === "string" ? /^\$\{local\.([\w.-]+)\}$/.exec(value) : null;
  if (match === null) return value;
  return (match[1] ?? "").split(".").reduce<unknown>((at, key) => (at as Json | undefined)?.[key], locals);
}

async function findings(context: CheckContext): Promise<{ found: string[]; looked: number }> {
  const { packages } = await toolchain(context.cache, context.say);
  const found: string[] = [];
  let looked = 0;
  for (const main of globSync("infra/{gpu-origin,examples/*}/main.tf", { cwd: context.root }).sort()) {
    const path = dirname(main);
    const folder = await readFolder(packages, join(context.root, path));
    for (const { name, body } of folder.modules) {
      const target = join(context.root, path, String(body.source));
      const { variables } = await readFolder(packages, target);
      const where = `${path}: module ${name} (${relative(context.root, target)})`;
      for (const [argument, value] of Object.entries(body).filter(([key]) => !META.includes(key))) {
        const shape = variables.get(argument);
        if (shape === undefined) found.push(`${where}: no variable ${argument}`);
        else
          found.push(
            ...strangeKeys(resolved(value, folder.locals), shape, argument).map(
              (key) => `${where}: no key ${key}`,
            ),
          );
        looked += 1;
      }
    }
    for (const file of globSync("*.tfvars.example", { cwd: join(context.root, path) })) {
      const text = readFileSync(join(context.root, path, file), "utf8");
      // The parser reads Terraform's blocks; variables' values are attributes of the same grammar.
      const values =
        ((await parseHcl(packages, file, `locals {\n${text}\n}`)) as { locals: Json[] }).locals[0] ?? {};
      for (const [name, value] of Object.entries(values)) {
        const shape = folder.variables.get(name);
        if (shape === undefined) found.push(`${path}/${file}: no variable ${name}`);
        else found.push(...strangeKeys(value, shape, name).map((key) => `${path}/${file}: no key ${key}`));
        looked += 1;
      }
    }
  }
  return { found, looked };
}

const nested = check(
  "gpu:nested-keys",
  "keys inside merge(…) and other calls; that a value means what its key says",
  async (context) => {
    const { found, looked } = await findings(context);
    if (looked === 0) throw new Error("no module call was found: the reader does not understand the files");
    return verdict(found, `${looked} arguments`);
  },
);

export const NESTED_CHECKS: readonly Check[] = [nested];
