import { CONTINUOUS, chat, STORY } from "../cases/case.ts";
import { recorderOf, send } from "../scenarios.ts";
import type { VllmServer } from "../server.ts";
import { deltaText, frames } from "./read.ts";

const TOKENS = 80;
const CUT_EVERY = 6;

async function tell(server: VllmServer, fields: Record<string, unknown>): Promise<string[]> {
  const body = chat({ ...CONTINUOUS, messages: STORY, ...fields });
  const answer = await send(recorderOf(server), {
    name: "tell",
    path: "/v1/chat/completions",
    shows: "",
    body,
  });
  return frames(answer.body.toString("utf8"))
    .map(deltaText)
    .filter((text) => text !== "");
}

/** True when vLLM, given `partial` as the start of the answer, goes on exactly as `whole` does. */
async function goesOn(server: VllmServer, whole: string, partial: string): Promise<boolean> {
  const rest = await tell(server, {
    messages: [...STORY, { role: "assistant", content: partial }],
    continue_final_message: true,
    add_generation_prompt: false,
    max_tokens: TOKENS,
  });
  const text = partial + rest.join("");
  return text.startsWith(whole) || whole.startsWith(text);
}

/** Where an interrupted answer can be taken up again by continue_final_message, at temperature 0. */
export async function probeResume(server: VllmServer): Promise<void> {
  const plain = await tell(server, { max_tokens: TOKENS });
  await cuts(server, "after a whole frame", plain, (text) => text);
  await cuts(server, "one character before the end of a frame", plain, (text) => text.slice(0, -1));
  const held = await tell(server, { max_tokens: TOKENS, stop: ["never said"] });
  await cuts(server, "after a whole frame, with a stop string of 10 characters", held, (text) => text);
}

async function cuts(
  server: VllmServer,
  where: string,
  texts: string[],
  trim: (text: string) => string,
): Promise<void> {
  const whole = texts.join("");
  let exact = 0;
  let tried = 0;
  for (let count = CUT_EVERY; count < texts.length - 1; count += CUT_EVERY) {
    tried += 1;
    if (await goesOn(server, whole, trim(texts.slice(0, count).join("")))) exact += 1;
  }
  console.log(`resumed ${where}: ${exact} of ${tried} go on exactly`);
}
