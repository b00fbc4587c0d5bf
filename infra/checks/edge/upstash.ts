import type { Attribute, ProviderSchema, TypeText } from "./schema.ts";

const required = (type: TypeText): Attribute => ({ type, required: true, optional: false, computed: false });
const optional = (type: TypeText): Attribute => ({ type, required: false, optional: true, computed: false });
const either = (type: TypeText): Attribute => ({ type, required: false, optional: true, computed: true });
const computed = (type: TypeText): Attribute => ({ type, required: false, optional: false, computed: true });

/**
 * Written by hand from the documentation of provider 2.0.1: there are no bindings to read. A check against it proves
 * that the configuration agrees with that reading, and nothing about the provider.
 */
export const UPSTASH: ProviderSchema = {
  version: "2.0.1 (by hand)",
  provider: { email: required("string"), api_key: required("string") },
  resources: {
    upstash_redis_database: {
      auto_scale: either("bool"),
      budget: either("number"),
      creation_time: computed("number"),
      database_id: computed("string"),
      database_name: required("string"),
      database_type: computed("string"),
      endpoint: computed("string"),
      eviction: either("bool"),
      id: computed("string"),
      ip_allowlist: optional(["set", "string"]),
      password: computed("string"),
      port: computed("number"),
      primary_region: optional("string"),
      prod_pack: either("bool"),
      read_only_rest_token: computed("string"),
      read_regions: optional(["set", "string"]),
      region: required("string"),
      rest_token: computed("string"),
      state: computed("string"),
      tls: optional("bool"),
    },
  },
  dataSources: {},
};
