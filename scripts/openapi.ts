import { writeFileSync } from "node:fs";
import { openApiDocument } from "../src/api/admin/document.ts";

// Writes docs/openapi.json from the schemas that check requests. A unit test tells when it is out of date.
const path = new URL("../docs/openapi.json", import.meta.url);
writeFileSync(path, `${JSON.stringify(openApiDocument(), null, 2)}\n`);
