import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Check, CheckContext, Mutant, Result } from "./check.ts";

/** What the checks read beside infra/. Shared with the checkout, since no mutant touches it. */
const SHARED = ["src", "scripts", "node_modules", "package.json", "wrangler.toml", "docs"];

const print = (line: string) => process.stdout.write(`${line}\n`);

export type Catch =
  | { readonly kind: "caught"; readonly line: string }
  | { readonly kind: "missed"; readonly why: string }
  | { readonly kind: "skipped"; readonly why: string };

/** Plants the mistake in a scratch copy of infra/ and runs the check that must catch it. */
export async function plant(mutant: Mutant, check: Check, context: CheckContext): Promise<Catch> {
  const scratch = mkdtempSync(join(tmpdir(), "meridian-mutant-"));
  try {
    cpSync(join(context.root, "infra"), join(scratch, "infra"), { recursive: true });
    for (const name of SHARED) symlinkSync(join(context.root, name), join(scratch, name));
    const file = join(scratch, mutant.file);
    const text = readFileSync(file, "utf8");
    if (!text.includes(mutant.from)) return { kind: "missed", why: `stale: ${mutant.file} lacks its text` };
    writeFileSync(
      file,
      text.replace(mutant.from, () => mutant.to),
    );
    return judge(mutant, await check.run({ ...context, root: scratch, say: () => {} }));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A mutant is caught when its check fails, and says why. */
export function judge(mutant: Pick<Mutant, "because">, result: Result): Catch {
  if (result.kind === "skip") return { kind: "skipped", why: result.why };
  if (result.kind === "pass") return { kind: "missed", why: "the check stayed green" };
  const line = result.lines.find((text) => mutant.because.test(text));
  return line === undefined
    ? { kind: "missed", why: `failed for another reason: ${result.lines[0] ?? ""}` }
    : { kind: "caught", line: line.trim() };
}

/** Plants all, one after the other, prints a table and says whether every one was caught. */
export async function runMutants(
  mutants: readonly Mutant[],
  checks: readonly Check[],
  context: CheckContext,
): Promise<boolean> {
  const counts = { caught: 0, missed: 0, skipped: 0 };
  print("| mutant | check | verdict |\n| --- | --- | --- |");
  for (const mutant of mutants) {
    const check = checks.find(({ name }) => name === mutant.caughtBy);
    const result: Catch =
      check === undefined
        ? { kind: "missed", why: `no check is named ${mutant.caughtBy}` }
        : await plant(mutant, check, context).catch((error) => ({ kind: "missed", why: String(error) }));
    counts[result.kind] += 1;
    const said = result.kind === "caught" ? result.line : result.why;
    print(
      `| ${mutant.name} | ${mutant.caughtBy} | ${result.kind}: ${said.replace(/\|/g, "/").slice(0, 110)} |`,
    );
  }
  print(`\n${counts.caught} caught, ${counts.missed} missed, ${counts.skipped} skipped`);
  return counts.missed === 0;
}
