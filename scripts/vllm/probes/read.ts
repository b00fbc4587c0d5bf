import type { VllmServer } from "../server.ts";

/** The sum of a metric's samples whose labels contain `label`. */
export async function counter(server: VllmServer, name: string, label = ""): Promise<number> {
  const text = await (await fetch(`${server.baseUrl}/metrics`)).text();
  const samples = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(label));
  if (samples.length === 0) throw new Error(`no ${name} with ${label} in /metrics`);
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** The largest completion_tokens that any frame of a chat stream told. */
export function toldTokens(text: string): number {
  return Math.max(0, ...[...text.matchAll(/"completion_tokens":(\d+)/g)].map((match) => Number(match[1])));
}

/** The JSON of each data frame but [DONE]. */
export function frames(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice("data: ".length)) as Record<string, unknown>);
}

/** The text that one frame of any of the four surfaces adds; "" when it adds none. */
export function deltaText(frame: Record<string, unknown>): string {
  if (frame.type === "response.output_text.delta") return String(frame.delta);
  if (frame.type === "content_block_delta") return (frame.delta as { text?: string }).text ?? "";
  const choices = frame.choices as { text?: string; delta?: { content?: string | null } }[] | undefined;
  return choices?.[0]?.delta?.content ?? choices?.[0]?.text ?? "";
}
