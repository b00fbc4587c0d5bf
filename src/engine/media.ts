/**
 * Media inside requests: `data:` URLs only, and how many prompt tokens they will cost. The engine would fetch any
 * other URL itself, from inside the region's network, so a client could reach what only the GPUs may reach.
 */

/** `data:<type>/<subtype>[;parameters];base64,` with the type in lower case, and where the payload starts. */
interface DataUrl {
  readonly type: string;
  readonly payloadAt: number;
}

const DATA_URL = /^data:([a-z]+)\/[a-z0-9.+-]{1,64}(?:;[a-z0-9=.+_-]{1,64}){0,4};base64,/i;
/** The longest prefix that `DATA_URL` can match, so that a huge URL of another kind costs nothing. */
const DATA_URL_PREFIX_MAX_CHARS = 400;

/** Null for all that is not a base64 `data:` URL. */
export function dataUrl(url: string): DataUrl | null {
  const match = DATA_URL.exec(url.slice(0, DATA_URL_PREFIX_MAX_CHARS));
  return match === null ? null : { type: match[1]!.toLowerCase(), payloadAt: match[0].length };
}

/**
 * One token per 28 × 28 pixels: Qwen2-VL and its successors merge 2 × 2 patches of 14 pixels (arXiv 2409.12191,
 * §2.1), which is the finest grid among the common open models; others cost less. Settled usage corrects it.
 */
const IMAGE_TILE_PIXELS = 28;
const IMAGE_TOKENS_MIN = 256;
/** Qwen2-VL's own ceiling: larger images are scaled down by the engine. */
const IMAGE_TOKENS_MAX = 16_384;
/** An image whose header says nothing: what about 1,800 × 1,800 pixels cost. */
const IMAGE_TOKENS_UNKNOWN = 4_096;
/** Audio encoders give about 25 tokens per second; 64 kbit/s compressed is 8,000 bytes per second. */
const AUDIO_BYTES_PER_TOKEN = 320;
/** 16 kHz, 16 bit, one channel is 32,000 bytes per second. */
const WAV_BYTES_PER_TOKEN = 1_280;
const MEDIA_TOKENS_MIN = 64;
/** Frames that an engine samples from a video are many and unknown here. */
const VIDEO_TOKENS = 16_384;

/** Prompt tokens of an image given as a base64 `data:` URL. */
export function imageTokens(url: string): number {
  const start = dataUrl(url)?.payloadAt;
  const size = start === undefined ? null : imageSize(decodeStart(url, start));
  if (size === null) return IMAGE_TOKENS_UNKNOWN;
  const tiles = Math.ceil(size.width / IMAGE_TILE_PIXELS) * Math.ceil(size.height / IMAGE_TILE_PIXELS);
  return Math.min(IMAGE_TOKENS_MAX, Math.max(IMAGE_TOKENS_MIN, tiles));
}

/** Prompt tokens of base64 audio, by its length. */
export function audioTokens(base64Chars: number, wav: boolean): number {
  const bytes = base64Chars * 0.75;
  return Math.max(MEDIA_TOKENS_MIN, Math.ceil(bytes / (wav ? WAV_BYTES_PER_TOKEN : AUDIO_BYTES_PER_TOKEN)));
}

export function videoTokens(): number {
  return VIDEO_TOKENS;
}

/** A JPEG carries its size behind metadata, which may hold a thumbnail: 64 KiB covers one segment of it. */
const HEADER_BASE64_CHARS = 88_000;

function decodeStart(url: string, at: number): Uint8Array {
  const length = Math.min(url.length - at, HEADER_BASE64_CHARS) & ~3;
  try {
    return Uint8Array.from(atob(url.slice(at, at + length)), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Width and height as the header of a PNG, GIF, WebP or JPEG states them; null for all else. */
export function imageSize(bytes: Uint8Array): Size | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 30) return null;
  const size = readSize(bytes, view);
  return size !== null && size.width > 0 && size.height > 0 ? size : null;
}

function readSize(bytes: Uint8Array, view: DataView): Size | null {
  if (view.getUint32(0) === 0x89504e47) return { width: view.getUint32(16), height: view.getUint32(20) };
  if (view.getUint32(0) === 0x47494638) {
    return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
  }
  if (view.getUint32(0) === 0x52494646 && view.getUint32(8) === 0x57454250) return webpSize(view);
  if (view.getUint16(0) === 0xffd8) return jpegSize(bytes, view);
  return null;
}

/** RFC 9649 §2.5–2.7: lossy (`VP8 `), lossless (`VP8L`), extended (`VP8X`). */
function webpSize(view: DataView): Size | null {
  const kind = view.getUint32(12);
  if (kind === 0x56503820) {
    return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  }
  if (kind === 0x5650384c) {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (kind === 0x56503858) {
    return { width: uint24(view, 24) + 1, height: uint24(view, 27) + 1 };
  }
  return null;
}

function uint24(view: DataView, at: number): number {
  return view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
}

/** Walks the segments to the frame header (SOF0 … SOF15 without DHT, JPG and DAC), ITU-T T.81 annex B. */
function jpegSize(bytes: Uint8Array, view: DataView): Size | null {
  let at = 2;
  while (at + 9 < bytes.length) {
    if (bytes[at] !== 0xff) return null;
    const marker = bytes[at + 1]!;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (frame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}
