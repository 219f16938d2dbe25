// Command example tells a short story.
package main

import "fmt"

func main() { fmt.Println("once\ntwice") }
