import { z } from "zod";
import { MODEL_NAME_MAX_CHARS } from "../bounds.ts";

export const modelNameSchema = z
  .string()
  .min(1)
  .max(MODEL_NAME_MAX_CHARS)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]*$/, "model name: letters, digits and . _ : / -");
