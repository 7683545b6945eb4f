/** Name of the AccessSession of a session: its id in lower case, which a name of Kubernetes has to be. */
export function sessionObjectName(sessionId: string): string {
  return `s-${sessionId.toLowerCase().replace(/[^a-z0-9-]/g, '-')}`;
}
