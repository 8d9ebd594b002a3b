// SPDX-License-Identifier: Apache-2.0
export declare function inflate(data: Uint8Array, size: number): Uint8Array;
