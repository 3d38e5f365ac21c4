# The LibTorch binding's sources, relative to this folder. Read by this tree's build and, installed, by the build of each user
# (cmake/horovod_cppTorch.cmake).
set(HVD_TORCH_SOURCES
    collectives.cpp
    context.cpp
    device_order.cpp
    distributed_optimizer.cpp
    errors.cpp
    exchanges.cpp
    gradient_exchange.cpp
    gradient_exchange_round.cpp
    gradient_exchange_step.cpp
    gradient_hook.cpp
    integer_average.cpp
    model_agreement.cpp
    operation.cpp
    parameters.cpp
    process_set.cpp
    round_facts.cpp
    sparse_rows.cpp
    tensor_facts.cpp)
