/** Requests of one reconcile that run at once; the client has 16 connections for all. */
const atOnce = 12;

/** Does something with each item, a dozen at once; the answers in the order of the items. The first failure ends it; what runs then ends by itself. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const entries = items.entries();
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (const [index, item] of entries) answers[index] = await work(item);
  }));
  return answers;
}
