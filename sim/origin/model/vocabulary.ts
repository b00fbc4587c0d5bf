/**
 * The vocabulary of the simulated model: specials, raw bytes, UTF-8 lead pairs, letter groups, and a list of
 * everyday words, so that English costs about four characters a token and a rare character several tokens.
 */

/** ChatML's markers, with the ids that SmolLM2 gives them. */
export const END_OF_TEXT = 0;
export const TURN_START = 1;
export const TURN_END = 2;
export const SPECIAL_TEXT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

export const ADJECTIVES = list(`ancient brave bright calm careful clever cold common curious deep distant
early empty fast fresh gentle golden great green happy heavy hidden honest kind large late light little local
long modern narrow new old patient plain quick quiet rare ready real rich round sharp short simple slow small
soft steady still strange strong sudden sweet tall thin tiny true vast warm whole wide wild wise young`);

export const NOUNS =
  list(`answer apple army bird boat book bridge castle child city cloud coast corner country
dream engine evening farm field fire fish forest friend garden gate girl harbor hill history home horse hour
house idea island journey kitchen lake language law letter library line lion machine map market memory message
model moment morning mountain music network night number ocean page paper path people picture place plan planet
poem problem queen question rain region river road room router sailor school sea season server ship shore
signal silence sky snow song star station stone storm story stream street student summer sun system table
teacher theory token tower town train tree valley village voice wall water wind window winter word work world
writer year`);

export const VERBS = list(`answers becomes begins brings builds carries catches changes chooses covers crosses
draws drives enters explains fills finds follows forms gives grows guards hears helps holds joins keeps knows
leads learns leaves lifts likes lives loves makes measures meets moves needs opens paints passes plays protects
pulls reaches reads remembers runs sees sends shapes shares shows sings sits sleeps speaks stands starts stops
studies takes teaches tells thinks touches travels turns uses visits wakes walks wants watches wins writes`);

export const LINKS = list(`above across after against along among around before behind below beneath beside
between beyond by down during for from in inside into near of on over past through to toward under until up
upon with within without`);

export const OPENERS = list(`The A This That Every One Each Some Any Our Their His Her My Your Another No`);
export const ADVERBS = list(`Today Then Now Soon Often Later Sometimes Here There Perhaps Finally Meanwhile`);

/** Words that prompts use and sentences above do not; they only make the token count of English realistic. */
const COMMON =
  list(`the a an and or but not is are was were be been being have has had do does did will would can
could should may might must shall if then than so as at it its he she they them we you I me my your his her our
their this that these those there here what which who whom whose when where why how all any both each few more
most other some such only own same too very just also about again because while once out off no yes please thank
thanks hello good morning capital France Paris write tell explain question answer user assistant system helpful
done list give make show find use using used one two three four five six seven eight nine ten first second third last
next time day week month way man woman part point group fact case company government hand eye life thing state
area money program code function return const let var class import export async await number string value type
error data request response text input output file test example name key id index object array true false null
weather temperature location today tomorrow email date function parameter result model token budget region pool
between less much many even back after think know see look come go get take want need like say said work call try
ask feel become leave put mean keep begin seem help turn start run move play believe bring happen provide include
continue set learn change lead understand watch follow stop create speak read allow add spend grow open walk win
offer remember consider appear buy wait serve die send expect build stay fall cut reach kill remain suggest raise
pass sell require report decide pull short story sentence paragraph word letter summary translate`);

/** ASCII runs that code and prose use often. */
const SYMBOLS = [
  "\n\n",
  "  ",
  "    ",
  "\n  ",
  "\n    ",
  "```",
  "();",
  ");",
  "()",
  "})",
  " {",
  "{\n",
  " }",
  " =",
  " ==",
  " ===",
  " =>",
  " (",
  " [",
  "[]",
  '",',
  '":',
  ' "',
  "...",
  "--",
  " -",
  "->",
  "//",
  " //",
  "::",
  "https",
  "://",
  ".ts",
  ".com",
  " '",
  "'s",
  "'t",
  " &",
  " |",
  "!!",
  "?!",
  "](",
  "**",
  " **",
  " *",
  "+=",
  " +",
  " `",
  "`.",
  '{"',
  '"}',
  ': "',
];

/** Chinese characters that are one token each; every other one falls back to bytes. */
const CHINESE =
  "的一是不了人我在有他这中大来上国个到说们为子和你地出会也时要就可以对生能而那得于着下自之年过后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运网请词句流区近送";

function list(words: string): readonly string[] {
  return words.trim().split(/\s+/);
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** How a token's id maps to bytes, and how an ASCII piece or a character maps back to an id. */
export type Vocabulary = {
  readonly size: number;
  /** The bytes of each id; empty for the special tokens. */
  readonly bytes: readonly Uint8Array[];
  /** ASCII pieces and whole non-ASCII characters. */
  readonly idOfText: ReadonlyMap<string, number>;
  /** The longest ASCII piece, in characters. */
  readonly longestPiece: number;
  readonly firstByteId: number;
  /** Two leading bytes of a multi-byte character, as `lead * 256 + second`. */
  readonly idOfLeadPair: ReadonlyMap<number, number>;
};

function* asciiPieces(): Generator<string> {
  for (const word of new Set([
    ...ADJECTIVES,
    ...NOUNS,
    ...VERBS,
    ...LINKS,
    ...OPENERS,
    ...ADVERBS,
    ...COMMON,
  ])) {
    const capital = word[0]!.toUpperCase() + word.slice(1);
    const lower = word[0]!.toLowerCase() + word.slice(1);
    yield* [lower, capital, ` ${lower}`, ` ${capital}`];
  }
  yield* SYMBOLS;
  for (const a of LETTERS) {
    yield ` ${a}`;
    yield ` ${a.toUpperCase()}`;
    for (const b of LETTERS) {
      yield* [a + b, ` ${a}${b}`, a.toUpperCase() + b];
      for (const c of LETTERS) yield a + b + c;
    }
  }
  for (let n = 0; n < 10; n++) yield ` ${n}`;
  for (let n = 0; n < 1000; n++) {
    if (n < 100) yield String(n).padStart(2, "0");
    yield String(n).padStart(3, "0");
  }
}

function buildVocabulary(): Vocabulary {
  const bytes: Uint8Array[] = SPECIAL_TEXT.map(() => new Uint8Array(0));
  const idOfText = new Map<string, number>();
  const idOfLeadPair = new Map<number, number>();
  const encoder = new TextEncoder();
  let longestPiece = 0;

  const firstByteId = bytes.length;
  for (let byte = 0; byte < 256; byte++) {
    if (byte < 128) idOfText.set(String.fromCharCode(byte), bytes.length);
    bytes.push(Uint8Array.of(byte));
  }
  // Lead bytes C2..DF start two-byte characters, which need no pair; E0..EF and F0..F4 start longer ones.
  for (let lead = 0xe0; lead <= 0xf4; lead++) {
    for (let second = 0x80; second < 0xc0; second++) {
      idOfLeadPair.set(lead * 256 + second, bytes.length);
      bytes.push(Uint8Array.of(lead, second));
    }
  }
  const add = (text: string): void => {
    if (idOfText.has(text)) return;
    idOfText.set(text, bytes.length);
    bytes.push(encoder.encode(text));
  };
  for (const piece of asciiPieces()) {
    add(piece);
    longestPiece = Math.max(longestPiece, piece.length);
  }
  for (const character of CHINESE) add(character);
  for (const mark of "，。！？、：；“”é") add(mark);
  return { size: bytes.length, bytes, idOfText, longestPiece, firstByteId, idOfLeadPair };
}

export const VOCABULARY: Vocabulary = buildVocabulary();
