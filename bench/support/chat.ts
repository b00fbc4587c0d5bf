import { type Agent, type IncomingHttpHeaders, request } from "node:http";

/** One chat completion of the demo tenant, read to its end and thrown away. Resolves with the answer's headers. */
export function chatOnce(
  agent: Agent,
  url: string,
  key: string,
  { tokens, stream }: { readonly tokens: number; readonly stream: boolean },
): Promise<IncomingHttpHeaders> {
  const content = `Benchmark ${Math.random()} ${"lorem ipsum dolor ".repeat(100)}[len=${tokens}]`;
  const body = JSON.stringify({
    model: "sim-chat",
    stream,
    max_tokens: tokens,
    messages: [{ role: "user", content }],
  });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/v1/chat/completions`, { method: "POST", agent, headers }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode}`));
      answer.resume();
      answer.on("end", () => resolve(answer.headers));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
