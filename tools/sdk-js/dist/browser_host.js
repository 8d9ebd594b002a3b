// SPDX-License-Identifier: Apache-2.0
import { PollSocket, fetchRequest } from './polling.js';
const browser = {
    now: () => performance.now(),
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
};
export const browserHost = () => ({
    ...browser,
    wallClock: () => Date.now(),
    random: () => Math.random(),
    openSocket: (url, protocols) => new WebSocket(url, protocols),
    openPolling: (url, protocols) => new PollSocket({ ...browser, request: fetchRequest }, url, protocols),
});
