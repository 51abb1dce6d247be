package demo
import "time"
const tick = 250 * time.Millisecond
