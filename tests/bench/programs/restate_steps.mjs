// Serves one durable handler of Restate on loopback: it runs the waves of steps.json.
// usage: node restate_steps.mjs STEPS PORT SDK
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http2";
import { promisify } from "node:util";

// The SDK expects it; node has it from version 22 on.
Promise.withResolvers ??= function () {
  const made = {};
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const [steps, port, sdk] = process.argv.slice(2);
const restate = await import(sdk);
const run = promisify(execFile);

// At most so many commands at a time.
function places(free) {
  const queue = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise((resolve) => queue.push(resolve));
    try {
      return await work();
    } finally {
      if (queue.length > 0) queue.shift()();
      else free += 1;
    }
  };
}

const bench = restate.service({
  name: "bench",
  handlers: {
    run: async (ctx) => {
      const { parallel, waves } = JSON.parse(readFileSync(steps, "utf8"));
      const place = places(parallel);
      const act = (command) => place(async () => command && void (await run("sh", ["-c", command])));
      for (const [number, wave] of waves.entries()) {
        const begun = wave.map((command, at) => ctx.run(`s${number}-${at}`, () => act(command)));
        await restate.RestatePromise.all(begun);
      }
    },
  },
});

createServer(restate.createEndpointHandler({ services: [bench] })).listen(Number(port), "127.0.0.1");
