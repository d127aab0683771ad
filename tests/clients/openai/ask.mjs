// Asks a model what each line of stdin says, and prints what a user of the SDK sees: a line of JSON each.
import { execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import OpenAI from "openai";

const run = promisify(execFile);
const apiKey = async () => (await run("daypass", ["token"])).stdout.trim();
const client = new OpenAI({ apiKey, baseURL: process.argv[2] });

async function ask(content) {
  const messages = [{ role: "user", content }];
  const stream = await client.chat.completions.create({ model: "m", messages, stream: true });
  const words = [];
  for await (const chunk of stream) words.push(chunk.choices[0].delta.content ?? "");
  return words.join("");
}

for await (const question of createInterface({ input: process.stdin })) {
  const seen = await ask(question).then(
    (answer) => ({ answer }),
    (error) => ({
      error: error.message,
      reason: error.headers?.get("daypass-reason"),
      cause: error.cause?.stderr ?? error.cause?.message,
    }),
  );
  console.log(JSON.stringify(seen));
}
