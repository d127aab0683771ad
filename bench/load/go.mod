module daypass.dev/bench/load

go 1.25
