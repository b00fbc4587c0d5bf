/** Inputs that may be a text, token ids, or a list of either: `prompt` and `input`. */
import { encode } from "../model/tokenizer.ts";
import { badRequest } from "./errors.ts";
import { validationError } from "./validate.ts";

/** Token ids of each input. `field` is named in errors; `toIds` is how the model encodes a text. */
export function readInputs(
  value: unknown,
  field: string,
  toIds: (text: string) => number[] = encode,
): number[][] {
  if (typeof value === "string") return [toIds(value)];
  if (!Array.isArray(value)) throw wrongInput(value, field);
  if (value.length === 0) throw badRequest("You must pass at least one prompt");
  if (isIds(value)) return [value];
  return value.map((entry: unknown) => {
    if (typeof entry === "string") return toIds(entry);
    if (isIds(entry)) return entry;
    throw wrongInput(entry, field);
  });
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0);
}

function wrongInput(input: unknown, field: string) {
  return validationError({
    type: "string_type",
    loc: `body.${field}`,
    msg: "Input should be a valid string",
    input,
  });
}
