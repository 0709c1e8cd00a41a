// Bundles the page into dist/. The result depends on nothing but the sources and the lock file:
// the same bytes come out on every machine, and a test compares them with what is committed.
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const out = join(root, "dist");
const copied = ["index.html", "favicon.svg"];
/** Published without a licence file; the same authors' other package carries the same licence. */
const licenceOf = { "@pipecat-ai/client-js": "@pipecat-ai/small-webrtc-transport" };

const { metafile, outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: {
    app: "src/main.ts",
    worklet: "src/worklet.ts",
    recorder: "src/recorder-worklet.ts",
    style: "src/style.css",
  },
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: ["es2022", "chrome111", "firefox114", "safari16.4"],
  minify: true,
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
  alias: {
    "@daily-co/daily-js": "./src/shims/daily.ts",
    "lodash/cloneDeep": "./src/shims/clone-deep.ts",
  },
  logLevel: "warning",
});

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
for (const { path, contents } of outputFiles) await writeFile(path, contents);
for (const name of copied) await copyFile(join(root, "src", name), join(out, name));
await writeFile(join(out, "LICENSES.txt"), await notices(Object.keys(metafile.inputs)));

async function notices(inputs) {
  const packages = new Set(
    inputs
      .map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
      .filter((name) => name !== undefined),
  );
  const parts = ["The page's bundle contains the following packages.\n"];
  for (const name of [...packages].sort()) {
    const { version, license } = JSON.parse(
      await readFile(join(root, "node_modules", name, "package.json"), "utf8"),
    );
    const text = await licenceText(licenceOf[name] ?? name);
    parts.push(`${"=".repeat(80)}\n${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return parts.join("\n");
}

async function licenceText(name) {
  const folder = join(root, "node_modules", name);
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no licence file; name another package's in build.mjs.`);
  return (await readFile(join(folder, file), "utf8")).replaceAll("\r\n", "\n");
}
