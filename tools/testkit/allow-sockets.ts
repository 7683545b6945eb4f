import { allowSockets } from './socket-guard.ts';

// Jest setup file of the e2e project.
allowSockets();
