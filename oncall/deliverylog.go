package oncall

import "time"

// DeliveryFilter narrows the log of deliveries. Zero fields match everything.
type DeliveryFilter struct {
	Incident int64
	Endpoint Endpoint // exactly
	States   []DeliveryState
	Before   string // key of a delivery: only older ones
	Limit    int    // at most so many; above 0
}

// EndpointQueue is what waits for an endpoint.
type EndpointQueue struct {
	Endpoint Endpoint
	Waiting  int       // queued, for a retry too
	Sending  int       // claimed by a process
	Oldest   time.Time // when the oldest of them was decided
	NextAt   time.Time // when the first of those that are queued may go; zero: none is
}

// DeliveryStates are all states of deliveries, in the order in which one passes through them.
var DeliveryStates = []DeliveryState{DeliveryQueued, DeliverySending, DeliveryAccepted, DeliveryDelivered, DeliveryRefused, DeliveryDropped}
