// POST a body NUMBER times; one line each: the answer's code, or the error.
// NODE_EXTRA_CA_CERTS names the authority.
import dns from "node:dns";

const [url, , token, size, times, , length] = process.argv.slice(2);
dns.lookup = (host, options, callback) =>
  options.all
    ? callback(null, [{ address: "127.0.0.1", family: 4 }])
    : callback(null, "127.0.0.1", 4);
const bytes = new Uint8Array(Number(size));
for (let i = 0; i < Number(times); i++) {
  const body = length === "unknown" ? new Blob([bytes]).stream() : bytes;
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body,
      duplex: "half",
      signal: AbortSignal.timeout(60_000),
    });
    const read = (await answer.text()).includes('"kind":"Status"') ? 1 : 0;
    console.log(answer.status, answer.headers.get("daypass-reason"), read);
  } catch (error) {
    console.log(`${error} ${error.cause}`.split("\n")[0]);
  }
}
