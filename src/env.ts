import type { Directory } from "./durable/directory.ts";
import type { RegionPool } from "./durable/region-pool.ts";
import type { Registry } from "./durable/registry.ts";
import type { TenantBudget } from "./durable/tenant-budget.ts";

/** What may be absent: without Redis the router does without what docs/upstash.md lists. */
export interface OptionalSettings {
  readonly UPSTASH_REDIS_REST_URL?: string;
  readonly UPSTASH_REDIS_REST_TOKEN?: string;
  /** Requests per 10 s from one client address with one key; default 1,000. */
  readonly FLOOD_REQUESTS_PER_10S?: string;
  /** "0": no stream is carried on elsewhere; default 1, at most once each. */
  readonly RESUMES_MAX?: string;
}

/** Bindings of the Worker, as wrangler.toml declares them. */
export interface Env extends OptionalSettings {
  readonly REGISTRY: DurableObjectNamespace<Registry>;
  readonly DIRECTORY: DurableObjectNamespace<Directory>;
  readonly TENANT_BUDGET: DurableObjectNamespace<TenantBudget>;
  readonly REGION_POOL: DurableObjectNamespace<RegionPool>;
  /** "production", or "development" with simulated client locations. */
  readonly MERIDIAN_MODE: string;
  /** JSON: MAC version (one base62 digit) → secret. The highest version signs new keys. */
  readonly KEY_MAC_SECRETS: string;
  /** In the same form: versions that rotations added (`npm run deploy -- --rotate-key-mac`). */
  readonly [later: `KEY_MAC_SECRETS_${string}`]: string;
  /** Derives every pool's secret. */
  readonly POOL_MASTER_SECRET: string;
  /** Signs usage tickets; gates never have it. */
  readonly TICKET_SECRET: string;
  /** SHA-256 (base64url) of each valid admin key, or `<name>:<hash>`, separated by spaces: two during a rotation. */
  readonly ADMIN_KEY_HASHES: string;
}
