import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Attribute, Attributes, ProviderSchema, TypeText } from "./schema.ts";
import { UPSTASH } from "./upstash.ts";

/**
 * `node server.ts <schema.json> <folder with @grpc/grpc-js and @grpc/proto-loader>`: serves the schemas as
 * providers to Terraform and prints what TF_REATTACH_PROVIDERS has to hold, as one line. It ends with its standard input.
 */

/** The parts of the two packages that are used; they are installed when a check runs and have no types here. */
interface Grpc {
  Server: new () => {
    addService(service: unknown, handlers: Readonly<Record<string, Handler>>): void;
    bindAsync(address: string, credentials: unknown, done: (error: Error | null, port: number) => void): void;
  };
  ServerCredentials: { createInsecure(): unknown };
  loadPackageDefinition(definition: unknown): { tfplugin6: { Provider: { service: unknown } } };
}
interface Loader {
  loadSync(file: string, options: object): unknown;
}
type Handler = (call: unknown, answer: (error: null, value: object) => void) => void;

const NESTING = { single: 1, list: 2, set: 3, map: 4 } as const;
const PROTO = fileURLToPath(new URL("plugin.proto", import.meta.url));

/** Terraform refuses values of any type inside a set, so there they are taken for strings. */
function attributeOf([name, attribute]: [string, Attribute], inSet: boolean): object {
  const { required, optional, computed, type, nested } = attribute;
  const use = { name, required, optional, computed };
  if (nested === undefined) return { ...use, type: Buffer.from(JSON.stringify(typeText(type!, inSet))) };
  const inner = Object.entries(nested.attributes).map((one) =>
    attributeOf(one, inSet || nested.nesting === "set"),
  );
  return { ...use, nestedType: { attributes: inner, nesting: NESTING[nested.nesting] } };
}

function typeText(type: TypeText, inSet: boolean): TypeText {
  return inSet && type === "dynamic" ? "string" : type;
}

function block(attributes: Attributes): object {
  return {
    version: 0,
    block: { attributes: Object.entries(attributes).map((one) => attributeOf(one, false)) },
  };
}

function blocks(all: Readonly<Record<string, Attributes>>): object {
  return Object.fromEntries(Object.entries(all).map(([name, attributes]) => [name, block(attributes)]));
}

function handlersOf(schema: ProviderSchema): Record<string, Handler> {
  const all = {
    provider: block(schema.provider),
    resourceSchemas: blocks(schema.resources),
    dataSourceSchemas: blocks(schema.dataSources),
  };
  const nothing: Handler = (_, answer) => answer(null, {});
  return {
    getProviderSchema: (_, answer) => answer(null, all),
    validateProviderConfig: nothing,
    validateResourceConfig: nothing,
    validateDataResourceConfig: nothing,
    stopProvider: nothing,
  };
}

/** Resolves to the port. */
function serve(grpc: Grpc, service: unknown, schema: ProviderSchema): Promise<number> {
  const server = new grpc.Server();
  server.addService(service, handlersOf(schema));
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, port: number) => (error ? reject(error) : resolve(port));
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), done);
  });
}

async function main(schemaFile: string, packages: string): Promise<void> {
  const load = createRequire(`${packages}/`);
  const grpc = load("@grpc/grpc-js") as Grpc;
  const loader = load("@grpc/proto-loader") as Loader;
  const service = grpc.loadPackageDefinition(loader.loadSync(PROTO, {})).tfplugin6.Provider.service;
  const cloudflare = JSON.parse(readFileSync(schemaFile, "utf8")) as ProviderSchema;
  const reattach = async (schema: ProviderSchema) => ({
    Protocol: "grpc",
    ProtocolVersion: 6,
    Pid: process.pid,
    Test: true,
    Addr: { Network: "tcp", String: `127.0.0.1:${await serve(grpc, service, schema)}` },
  });
  const all = {
    "cloudflare/cloudflare": await reattach(cloudflare),
    "upstash/upstash": await reattach(UPSTASH),
  };
  process.stdout.write(`${JSON.stringify(all)}\n`);
  process.stdin.resume();
  process.stdin.once("end", () => process.exit(0));
}

await main(process.argv[2]!, process.argv[3]!);
