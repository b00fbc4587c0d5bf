import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ROUNDS } from "../sim/attack/rounds.ts";
import { type Row, runAttack } from "../sim/attack/run.ts";

const USAGE = `npm run attack -- [--only greed,faults,uncounted] [--seconds N] [--seed S] [--json FILE]

  Starts a local stack of three regions and spends tenants' budgets as fast as clients can, from one place and from
  nine, while nothing fails and while the edge is killed and gates' reports are late. Then reads what the replicas
  emitted, to a tenth of a second, and looks for the worst interval of any length. Ends with 1 when a tenant got more
  than capacity + rate · T and the overrun of its policy, or, in the full time, much less than its limit.`;

const COLUMNS: readonly [title: string, width: number, of: (row: Row) => string][] = [
  ["attack", 25, ({ target }) => target.name],
  ["policy", 7, ({ target }) => target.overdraft],
  ["served", 7, ({ made }) => String(made.filter(({ status }) => status === 200).length)],
  ["refused", 8, ({ made }) => String(made.filter(({ status }) => status === 429).length)],
  ["at once", 8, ({ running }) => String(running)],
  ["used", 7, ({ usedShare }) => `${(usedShare * 100).toFixed(1)} %`],
  ["worst minute", 13, ({ inMinute }) => String(inMinute)],
  ["beyond", 8, ({ beyond }) => String(beyond)],
  ["allowed", 8, ({ allowed }) => String(allowed)],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      seconds: { type: "string" },
      seed: { type: "string", default: "1" },
      json: { type: "string" },
      help: { type: "boolean" },
    },
  });
  const names = values.only?.split(",") ?? Object.keys(ROUNDS);
  const [seconds, seed] = [Number(values.seconds ?? 1), Number(values.seed)];
  const known = names.every((name) => Object.hasOwn(ROUNDS, name));
  if (values.help || !known || !(seconds > 0) || !Number.isInteger(seed)) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const rounds = names.map((name) => {
    const round = ROUNDS[name]!;
    return values.seconds === undefined ? round : { ...round, seconds };
  });
  const rows = await runAttack(rounds, seed, (line) => console.log(`  … ${line}`));
  if (values.json !== undefined) {
    const told = rows.map(({ made, usage, ...row }) => ({ ...row, answers: made.length, open: usage.open }));
    writeFileSync(values.json, `${JSON.stringify({ seed, rows: told }, null, 2)}\n`);
  }
  console.log(`\n${COLUMNS.map(([title, width]) => title.padEnd(width)).join("")}`);
  for (const row of rows) console.log(COLUMNS.map(([, width, of]) => of(row).padEnd(width)).join(""));
  const missed = rows.flatMap((row) => misses(row, values.seconds === undefined));
  for (const line of missed) console.log(`MISSED  ${line}`);
  console.log(
    "beyond, allowed: tokens above capacity + rate · T in the worst interval; above zero is overrun",
  );
  process.exitCode = missed.length === 0 ? 0 : 1;
}

function misses({ target, beyond, allowed, open, usedShare }: Row, fullTime: boolean): string[] {
  const name = `${target.name}, ${target.overdraft}`;
  return [
    ...(beyond > allowed ? [`${name}: ${beyond} tokens beyond the bound, ${allowed} allowed`] : []),
    ...(open > 0 ? [`${name}: ${open} reservations stay open`] : []),
    ...(fullTime && usedShare < target.usedMin ? [`${name}: only ${usedShare.toFixed(3)} of the limit`] : []),
  ];
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
