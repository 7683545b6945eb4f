import { forbidSockets } from './socket-guard.ts';

// Jest setup file of the unit project.
forbidSockets();
