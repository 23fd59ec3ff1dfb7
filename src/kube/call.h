// SPDX-License-Identifier: Apache-2.0
// What the client's parts have for it.
#pragma once

#include "kube/inside.h"

// As kube_send(), but the answer is told to `done`, not before this returns, and not to the owner.
uint64_t call_send(struct kube *k, const struct kube_request *r,
                   void (*done)(void *user, struct kube_answer *a, struct mono now));
void calls_tell(struct kube *k, struct mono now);
// Begins those that wait, as far as there is room.
void calls_go(struct kube *k);
void calls_free(struct kube *k);
// What the last event lent is over.
void calls_take_back(struct kube *k);
bool call_next(struct kube *k, struct kube_event *ev);
// True: it was answered, and is gone.
bool call_take_answer(struct kube *k, uint64_t number, struct kube_answer *out);

bool watches_are_pending(const struct kube *k);
bool watch_next(struct kube *k, struct kube_event *ev);
void watches_free(struct kube *k);

bool leases_are_pending(const struct kube *k);
bool lease_next(struct kube *k, struct kube_event *ev);
void leases_free(struct kube *k);
