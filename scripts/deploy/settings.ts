import { fileURLToPath } from "node:url";
import { unstable_readConfig } from "wrangler";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What wrangler.toml says, as far as the scripts and tests ask. */
export interface Settings {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** Binding → class. */
  readonly objects: Readonly<Record<string, string>>;
  readonly migrations: readonly Migration[];
  readonly vars: Readonly<Record<string, unknown>>;
  readonly requiredSecrets: readonly string[];
  /** Null: whichever the login or CLOUDFLARE_ACCOUNT_ID says. */
  readonly accountId: string | null;
}

export interface Migration {
  readonly tag: string;
  readonly new_classes?: readonly string[] | undefined;
  readonly new_sqlite_classes?: readonly string[] | undefined;
  readonly renamed_classes?: readonly { readonly from: string; readonly to: string }[] | undefined;
  readonly deleted_classes?: readonly string[] | undefined;
}

/** Wrangler's own types cannot be resolved without packages that it only bundles. */
interface WranglerConfig {
  readonly name?: string;
  readonly account_id?: string;
  readonly compatibility_date?: string;
  readonly compatibility_flags?: readonly string[];
  readonly durable_objects: {
    readonly bindings: readonly { readonly name: string; readonly class_name: string }[];
  };
  readonly migrations: readonly Migration[];
  readonly vars: Readonly<Record<string, unknown>>;
  readonly secrets?: { readonly required?: readonly string[] };
}

/** Reads wrangler.toml as wrangler itself does. Throws wrangler's own message when it is broken. */
export function readSettings(file = `${ROOT}wrangler.toml`): Settings {
  const config = unstable_readConfig({ config: file }, { hideWarnings: true }) as WranglerConfig;
  return {
    name: config.name ?? "",
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags ?? [],
    objects: Object.fromEntries(
      config.durable_objects.bindings.map(({ name, class_name }) => [name, class_name]),
    ),
    migrations: config.migrations,
    vars: { ...config.vars },
    requiredSecrets: config.secrets?.required ?? [],
    accountId: config.account_id ?? null,
  };
}
