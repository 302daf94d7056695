//go:build race

package simulation_test

// seeds and orders are what TestFaults plays by itself: little, with the race
// detector, as everything takes ten times as long.
const seeds, orders = 3, 400
