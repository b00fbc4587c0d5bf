/** The chat template: ChatML, as SmolLM2 and Qwen use it, without a default system message. */
import { encode } from "./tokenizer.ts";
import { TURN_END, TURN_START } from "./vocabulary.ts";

/** A message whose content is already one text. */
export type PlainMessage = { readonly role: string; readonly content: string };

const NEWLINE = encode("\n");

/**
 * Prompt ids for a conversation. `open` is how it ends: a header for a new answer, the last message left open to
 * be continued, or nothing.
 *
 * A message's content is encoded by itself, so that a partial answer sent back gives exactly the ids that were
 * generated, wherever the turn's header ends.
 */
export function renderChat(
  messages: readonly PlainMessage[],
  open: "answer" | "continue" | "none",
): number[] {
  const ids: number[] = [];
  messages.forEach((message, index) => {
    ids.push(TURN_START, ...encode(message.role), ...NEWLINE);
    for (const id of encode(message.content)) ids.push(id);
    if (open === "continue" && index === messages.length - 1) return;
    ids.push(TURN_END, ...NEWLINE);
  });
  if (open === "answer") ids.push(TURN_START, ...encode("assistant"), ...NEWLINE);
  return ids;
}
