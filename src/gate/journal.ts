import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { type UsageReport, usageReportSchema } from "../contract/report.ts";

/** Above this much that was taken already, the file is written anew with what is left. */
const JOURNAL_MAX_BYTES = 4 * 1024 * 1024;

/**
 * Final reports that the edge does not have yet, in a file: a gate that is killed delivers them when it is started again.
 * Written without waiting for the disk, which is enough for a process that dies; a machine that dies loses them.
 */
export class Journal {
  readonly #fd: number;
  #bytes: number;
  /** What the process before left. */
  readonly left: readonly UsageReport[];

  constructor(file: string) {
    this.#fd = openSync(file, "a+", 0o600);
    const text = readFileSync(file, "utf8");
    this.left = text.split("\n").flatMap(readLine);
    this.#bytes = Buffer.byteLength(text);
  }

  add(report: UsageReport): void {
    this.#bytes += writeSync(this.#fd, `${JSON.stringify(report)}\n`);
  }

  /** Some were taken; `waiting` are those that were not. */
  taken(waiting: readonly UsageReport[]): void {
    if (waiting.length > 0 && this.#bytes <= JOURNAL_MAX_BYTES) return;
    ftruncateSync(this.#fd, 0);
    this.#bytes = 0;
    for (const report of waiting) this.add(report);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** A line that was cut short by the kill is no report. */
function readLine(line: string): UsageReport[] {
  try {
    const read = usageReportSchema.safeParse(JSON.parse(line));
    return read.success ? [read.data] : [];
  } catch {
    return [];
  }
}
