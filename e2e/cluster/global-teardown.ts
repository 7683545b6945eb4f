/** Ends the node of the global setup. */
// biome-ignore lint/style/noDefaultExport: Jest calls a global teardown by its default export
export default async function globalTeardown(): Promise<void> {
  await globalThis.sallyportNode?.[Symbol.asyncDispose]();
}
