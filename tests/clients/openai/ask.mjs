// Asks a model what each line of stdin says, and prints what a user of the SDK sees: a line of JSON each.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import OpenAI from "openai";

const baseURL = process.argv[2];
const tokenFile = process.env.DAYPASS_ACCESS_TOKEN_FILE;
const client = new OpenAI({ baseURL, apiKey: async () => (await readFile(tokenFile, "utf8")) });

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
    (error) => ({ error: error.message, reason: error.headers?.get("daypass-reason") }),
  );
  console.log(JSON.stringify(seen));
}
