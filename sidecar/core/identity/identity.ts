/** One link of a delegation chain (RFC 8693 `act`): who acts for the subject. */
export interface Actor {
  readonly issuer: string;
  readonly subject: string;
}

/**
 * A verified person, CI job, workload or agent. The key of a human is (`issuer`, `subject`): equal names from two issuers are two people.
 * Made by `verify-token.ts` only.
 */
export interface Identity {
  /** Name of the IdentityProvider resource. */
  readonly provider: string;
  readonly issuer: string;
  readonly subject: string;
  /** How the provider made names of claims when the token was read: what has changed since makes it somebody else (`isStillMapped`). Absent in tests only. */
  readonly mapping?: string;
  /** Prefixed, as policies name it. */
  readonly username: string;
  /** Prefixed. */
  readonly groups: readonly string[];
  readonly uid: string | null;
  readonly email: string | null;
  /** Set for Kubernetes service accounts. */
  readonly serviceAccount: { readonly namespace: string; readonly name: string } | null;
  /** Outermost actor first; empty unless an agent acts for the subject. */
  readonly actors: readonly Actor[];
  readonly tokenId: string | null;
  readonly authTimeMs: number | null;
  readonly acr: string | null;
  readonly amr: readonly string[];
  readonly issuedAtMs: number | null;
  readonly expiresAtMs: number;
  /** How an SSH client proved it; absent: by the token itself. */
  readonly authMethod?: AuthMethod;
  /** All claims, for Claims expressions; never logged or recorded whole. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** How an identity was proven to the gateway. */
export type AuthMethod = 'Token' | 'DeviceLogin' | 'Ticket' | 'Certificate';

/** The stable key of the human or workload behind an identity. */
export function subjectKey(who: { readonly issuer: string; readonly subject: string }): string {
  return JSON.stringify([who.issuer, who.subject]);
}
