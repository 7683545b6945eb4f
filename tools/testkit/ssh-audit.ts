import type { CastHeader, SessionSubject, SshEvent } from '../../contract/audit.ts';
import { aDecision, aSubject } from './audit.ts';

/** The subject of an SSH session: account deploy on web-1, by certificate. */
export function anSshSubject(sessionId: string = '01SESSION', changes: Partial<SessionSubject> = {}): SessionSubject {
  return aSubject(sessionId, {
    client: { ip: '10.20.3.44', port: 51544, applicationName: 'OpenSSH_9.2', requestedUser: 'deploy' },
    target: { name: 'web-1', uid: '5d1f', labels: { environment: 'prod' }, database: 'deploy' },
    transport: {
      tlsVersion: null, cipher: null,
      ssh: {
        authMethod: 'Certificate', credentialId: 'serial 7', client: { kex: 'curve25519-sha256', cipher: 'aes128-gcm@openssh.com', software: 'OpenSSH_9.2' },
        target: { kex: 'curve25519-sha256', cipher: 'aes128-gcm@openssh.com', hostKey: 'SHA256:abc' },
      },
    },
    ...changes,
  });
}

/** An allowed `uptime`. */
export function anSshEvent(changes: Partial<SshEvent> = {}): SshEvent {
  return {
    code: 'exec.intent', channel: 1, operation: null, decision: aDecision(), approvals: [], request: null, reason: null,
    facts: { text: 'uptime', programs: ['uptime'], unknowns: [], cwd: '/srv', pty: false }, ...changes,
  };
}

/** The recording of channel 1 without a terminal. */
export function aCastHeader(changes: Partial<CastHeader> = {}): CastHeader {
  return { channel: 1, terminal: null, command: 'uptime', title: 'deploy@web-1', environment: { LANG: 'C.UTF-8' }, ...changes };
}
