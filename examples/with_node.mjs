// Node at a gate: daypass run --file -- node with_node.mjs https://kubeflow.example.com/pipeline
//
// NODE_EXTRA_CA_CERTS names the gate's certificate authority, if it is not a public one.
import { readFile } from "node:fs/promises";

const tokenFile = process.env.DAYPASS_ACCESS_TOKEN_FILE;

for (const url of process.argv.slice(2)) {
  const headers = { Authorization: "Bearer " + (await readFile(tokenFile, "utf8")) };
  const answer = await fetch(url, { headers });
  console.log(answer.status, await answer.text()); // of a refusal, too: it says why
}
