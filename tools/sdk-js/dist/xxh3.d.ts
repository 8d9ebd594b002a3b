// SPDX-License-Identifier: Apache-2.0
/** XXH3-64 of `data`, seed 0. */
export declare function xxh3(data: Uint8Array): bigint;
