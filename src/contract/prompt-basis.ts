/**
 * What a prompt's estimate was made of. It rides in the usage ticket, so that the engine's own count can be held against
 * it when it comes, by whichever isolate takes the report. It tells sizes and nothing of the text.
 */
export interface PromptBasis {
  /** The class that most of the text's estimated tokens are of. */
  readonly textClass: TextClass;
  /** The text's tokens by the constants of the cold start. */
  readonly textTokens: number;
  /** Tokens that do not depend on text, as the edge counts them. */
  readonly fixedTokens: number;
  /** True where the engine puts the prompt into the model's chat template. */
  readonly templated: boolean;
}

/** English and its like; code, JSON and other dense ASCII; Chinese, Japanese and Korean; all else. */
export type TextClass = "prose" | "code" | "cjk" | "other";

/** A prompt whose tokens an engine has counted. */
export interface CountedPrompt {
  readonly requestId: string;
  readonly basis: PromptBasis;
  readonly promptTokens: number;
}
