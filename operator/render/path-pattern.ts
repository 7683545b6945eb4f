/** Why a text is no pattern of paths, or null. Absolute, as the target resolves it; `*` and `?` inside a part, `**` as a whole part. */
export function pathPatternProblem(text: string): string | null {
  if (!text.startsWith('/')) return 'a path begins with /: what a relative one means depends on the account and its shell';
  const parts = text.split('/').slice(1);
  if (parts.some((part) => part === '.' || part === '..')) return 'write the path without . and .., as the target resolves it';
  if (parts.some((part) => part.includes('**') && part !== '**')) return '** stands for whole parts: /srv/drop/**';
  // Whoever writes these means alternatives, and would get a file of that name.
  return /[[\]{}]/.test(text) ? 'only *, ? and ** are wildcards: write one path for each alternative' : null;
}
