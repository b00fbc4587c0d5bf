import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { WORKERD_OPTIONS } from "../workerd/config.ts";
export default defineConfig({
  root: "/work/main",
  plugins: [cloudflareTest(WORKERD_OPTIONS)],
  test: { name: "workerd", include: ["test/workerd/{admin,registry}*.test.ts"] },
});
