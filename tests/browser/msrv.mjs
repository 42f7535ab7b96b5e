// Reads `cargo metadata` on standard input and fails when a resolved package wants a newer Rust
// than the root package promises.

import { readFileSync } from "node:fs";

/** @typedef {{ id: string, name: string, version: string, rust_version: string | null }} Package */

const metadata = JSON.parse(readFileSync(0, "utf8"));
/** @type {Package[]} */
const packages = metadata.packages;
const root = packages.find((entry) => entry.id === metadata.resolve.root);
if (!root?.rust_version) {
  throw new Error("the root package promises no rust-version");
}

/** @param {string} version */
const minor = (version) => Number(version.split(".")[1]);
const promised = minor(root.rust_version);
// `packages` lists other platforms' packages as well; `resolve.nodes` only those built here.
const built = new Set(metadata.resolve.nodes.map((/** @type {Package} */ node) => node.id));

const tooNew = packages.filter(
  (entry) => built.has(entry.id) && entry.rust_version && minor(entry.rust_version) > promised,
);
for (const { name, version, rust_version } of tooNew) {
  console.error(`${name} ${version} needs Rust ${rust_version}, we promise 1.${promised}`);
}
process.exitCode = tooNew.length > 0 ? 1 : 0;
