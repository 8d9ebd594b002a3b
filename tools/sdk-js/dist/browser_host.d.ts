// SPDX-License-Identifier: Apache-2.0
import type { Host } from './host.js';
export declare const browserHost: () => Host;
