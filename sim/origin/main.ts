/** `node sim/origin/main.ts --port 9101 --id us-east-0`: one simulated vLLM server as a process. */
import { parseArguments } from "./options.ts";
import { startReplica } from "./replica.ts";

// Started by a program that is gone, maybe already: nobody is left to stop this process.
if (process.connected) process.once("disconnect", () => process.exit(0));

const options = parseArguments(process.argv.slice(2));
const replica = await startReplica(options, () => process.kill(process.pid, "SIGKILL"));
console.log(`sim vLLM ${options.id} ready at ${replica.url}`);

process.once("SIGTERM", () => void replica.shutdown().then(() => process.exit(0)));
process.once("SIGINT", () => process.exit(130));
