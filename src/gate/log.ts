/** One JSON line per fact, on stdout. What goes in: ids, outcomes, counts, durations. Never a text of a request. */
export interface Log {
  info(event: string, fields: LogFields): void;
  warn(event: string, fields: LogFields): void;
}
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** With `quiet` only warnings are written. */
export function createLog(write: (line: string) => void, quiet: boolean): Log {
  const line = (level: string, event: string, fields: LogFields) =>
    write(`${JSON.stringify({ at: new Date().toISOString(), level, event, ...fields })}\n`);
  return {
    info: (event, fields) => {
      if (!quiet) line("info", event, fields);
    },
    warn: (event, fields) => line("warn", event, fields),
  };
}
