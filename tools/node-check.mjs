/**
 * Refuses any other Node than the one this project runs on. Plain JavaScript on purpose: an old Node must be able to read it.
 * An npm that blocks install scripts leaves no node_modules/.bin/node, and the machine's own Node would run everything without a word.
 */
const [major, minor] = process.versions.node.split('.').map(Number);
if (major !== 24 && major !== 25 ? true : major === 24 && minor < 9) {
  console.error(`Node ${process.version} at ${process.execPath} cannot run this project: 24.9 or newer, below 26, is needed.`);
  console.error('The npm package node@24.21.0 brings it by its install script. That script was blocked or failed: see allowScripts in package.json and `npm config get ignore-scripts`; then run make setup.');
  process.exit(1);
}
