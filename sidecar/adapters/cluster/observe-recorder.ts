import type { BackendFacts, EndReason, RecorderFactory, SessionRecorder, SessionSeal, SessionSubject, SshEvent, SshSessionRecorder, StatementAttempt, StatementIntent, StatementResult } from '../../../contract/audit.ts';

/** Told what was recorded, after it was; must not throw or wait. */
export interface SessionObserver {
  started(subject: SessionSubject, backend: BackendFacts): void;
  intents(intents: readonly StatementIntent[]): void;
  result(result: StatementResult): void;
  attempt(attempt: StatementAttempt): void;
  /** An event of an SSH session. */
  ssh(event: SshEvent): void;
  ended(reason: EndReason, seal: SessionSeal | null): void;
}

/** The same recorders; each session's records are shown to an observer once they are written. A record that failed is not shown, and its failure passes through. */
export function observeRecorders(recorders: RecorderFactory, observe: (sessionId: string) => SessionObserver): RecorderFactory {
  return {
    unavailable: () => recorders.unavailable(),
    open: (sessionId) => observed(recorders.open(sessionId), observe(sessionId)),
    openSsh: (sessionId) => observedSsh(recorders.openSsh(sessionId), observe(sessionId)),
    authFailed: (facts) => recorders.authFailed(facts),
    event: (code, facts) => recorders.event(code, facts),
    onFailure: (listener) => recorders.onFailure(listener),
    close: () => recorders.close(),
  };
}

function observed(recorder: SessionRecorder, observer: SessionObserver): SessionRecorder {
  const seal = (): SessionSeal | null => recorder.seal?.() ?? null;
  return {
    sessionId: recorder.sessionId,
    start: async (subject, backend) => {
      await recorder.start(subject, backend);
      observer.started(subject, backend);
    },
    recordIntents: (intents) => {
      const numbers = recorder.recordIntents(intents);
      if (!(numbers instanceof Promise)) {
        observer.intents(intents);
        return numbers;
      }
      return numbers.then((written) => {
        observer.intents(intents);
        return written;
      });
    },
    recordResult: (result) => {
      recorder.recordResult(result);
      observer.result(result);
    },
    recordAttempt: async (attempt) => {
      await recorder.recordAttempt(attempt);
      observer.attempt(attempt);
    },
    describe: (statement, columns) => recorder.describe(statement, columns),
    row: (statement, body) => recorder.row(statement, body),
    copy: (statement, direction, chunk) => recorder.copy(statement, direction, chunk),
    notice: (statement, kind, fields) => recorder.notice(statement, kind, fields),
    flush: () => recorder.flush(),
    end: async (reason, totals) => {
      try {
        await recorder.end(reason, totals);
      } finally {
        observer.ended(reason, seal());
      }
    },
    seal,
  };
}

function observedSsh(recorder: SshSessionRecorder, observer: SessionObserver): SshSessionRecorder {
  const seal = (): SessionSeal | null => recorder.seal?.() ?? null;
  return {
    sessionId: recorder.sessionId,
    start: async (subject, backend) => {
      await recorder.start(subject, backend);
      observer.started(subject, backend);
    },
    record: async (event) => {
      const operation = await recorder.record(event);
      observer.ssh(event);
      return operation;
    },
    note: (event) => {
      recorder.note(event);
      observer.ssh(event);
    },
    openCast: (header) => recorder.openCast(header),
    end: async (reason, totals) => {
      try {
        await recorder.end(reason, totals);
      } finally {
        observer.ended(reason, seal());
      }
    },
    seal,
  };
}
