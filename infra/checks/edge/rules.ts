// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Terraform writes its references like that.
import type { HclFile } from "./toolchain.ts";

/** What neither the schema nor a plan can say about the text of a configuration; one line for each mistake. */
export type Rule = (files: readonly HclFile[]) => string[];

type Body = Readonly<Record<string, unknown>>;

function blocksOf(
  files: readonly HclFile[],
  kind: "resource" | "data",
): [type: string, name: string, body: Body][] {
  return files.flatMap((file) =>
    Object.entries(file[kind] ?? {}).flatMap(([type, named]) =>
      Object.entries(named).flatMap(([name, bodies]) =>
        bodies.map((body): [string, string, Body] => [type, name, body]),
      ),
    ),
  );
}

/** Every part of a body that is a key or a text, by where it is. */
function* textsIn(value: unknown, path: string): Generator<[path: string, text: string]> {
  if (typeof value === "string") yield [path, value];
  else if (value !== null && typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) {
      yield [`${path}.${key}`, key];
      yield* textsIn(inner, `${path}.${key}`);
    }
  }
}

const TOKEN_SOURCES = /^cloudflare_zero_trust_tunnel_(cloudflared|warp_connector)_tokens?$/;

/** What opens a tunnel never goes through Terraform: whatever it reads or is told ends in the state. */
export const noTunnelTokenInState: Rule = (files) => [
  ...blocksOf(files, "data")
    .filter(([type]) => TOKEN_SOURCES.test(type))
    .map(([type, name]) => `data.${type}.${name} puts the tunnel's token into the state`),
  ...blocksOf(files, "resource")
    .filter(([, , body]) => "tunnel_secret" in body)
    .map(([type, name]) => `${type}.${name} puts the tunnel's secret into the state`),
];

const SECRET_ATTRIBUTES = /\.(client_secret|rest_token|read_only_rest_token|password|token|tunnel_secret)\b/;

/** The schema stub does not know which values are secret, so an output that shows one must say so itself. */
export const secretOutputsAreMarked: Rule = (files) =>
  files.flatMap(({ output = {} }) =>
    Object.entries(output).flatMap(([name, bodies]) =>
      bodies
        .filter((body) => body.sensitive !== true && SECRET_ATTRIBUTES.test(JSON.stringify(body.value)))
        .map(() => `output.${name} holds a secret and is not marked as sensitive`),
    ),
  );

const OPEN_TO_ALL = new Set(["everyone", "any_valid_service_token"]);

/** Access is for who is named. */
export const accessNamesWhoPasses: Rule = (files) =>
  blocksOf(files, "resource")
    .filter(([type]) => type.startsWith("cloudflare_zero_trust_access_"))
    .flatMap(([type, name, body]) => {
      const texts = [...textsIn(body, `${type}.${name}`)];
      const open = texts.filter(
        ([, text]) => OPEN_TO_ALL.has(text) || /\b(everyone|any_valid_service_token)\s*=\s*\{/.test(text),
      );
      const bypass = texts.filter(([path, text]) => path.endsWith(".decision") && text === "bypass");
      return [
        ...open.map(([path]) => `${path} lets in whoever comes`),
        ...bypass.map(([path]) => `${path}: bypass switches Access off`),
      ];
    });

const KEPT = ["cloudflare_workers_kv_namespace", "upstash_redis_database"];

/** Storage whose content is nowhere else. */
export const storageIsKept: Rule = (files) =>
  blocksOf(files, "resource")
    .filter(
      ([type, , body]) =>
        KEPT.includes(type) && !JSON.stringify(body.lifecycle ?? "").includes('"prevent_destroy":true'),
    )
    .map(([type, name]) => `${type}.${name} can be destroyed by a slip: prevent_destroy is not set`);

/** A variable says what it is, of which type, and a secret one never stays. */
export const variablesAreDescribed: Rule = (files) =>
  files.flatMap(({ variable = {} }) =>
    Object.entries(variable).flatMap(([name, bodies]) =>
      bodies.flatMap((body) => [
        ...(typeof body.description === "string" && body.description !== ""
          ? []
          : [`variable.${name} has no description`]),
        ...(body.type === undefined || body.type === "${any}" ? [`variable.${name} has no type`] : []),
        ...(body.sensitive === true && body.ephemeral !== true
          ? [`variable.${name} is sensitive and not ephemeral: it would be in saved plans`]
          : []),
      ]),
    ),
  );

/** Paths that are routes of the Worker, in the text of src/worker.ts. */
export function routesOf(worker: string): string[] {
  const listed = [...worker.matchAll(/\["(\/[\w/-]+)", \{ method/g)].map(([, path]) => path!);
  if (listed.length === 0) throw new Error("src/worker.ts lists its routes in another way than it did");
  return listed;
}

/** Every route passes `known_paths_only`, else switching that on would break the Worker. */
export function routesPass(files: readonly HclFile[], worker: string): string[] {
  const paths = files
    .flatMap(({ locals = [] }) => locals)
    .map((block) => block.paths as { exact: string[]; prefixes: string[] } | undefined)
    .find((found) => found !== undefined);
  if (paths === undefined) return ["main.tf has no local.paths"];
  return routesOf(worker)
    .filter(
      (route) => !paths.exact.includes(route) && !paths.prefixes.some((prefix) => route.startsWith(prefix)),
    )
    .map((route) => `local.paths lacks the Worker's route ${route}`);
}
