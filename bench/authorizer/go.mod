module daypass.dev/bench/authorizer

go 1.25
