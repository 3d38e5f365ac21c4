# horovod_cpp::torch in the build of a program: find_package(horovod_cpp COMPONENTS torch) reads this file, installed beside the sources.
#
# The binding is compiled here, in the user's own build, and not before: LibTorch's C++ interface differs between its versions and
# builds, so a compiled binding would fit only the LibTorch that it was compiled against. What lies beneath, horovod_cpp::core, knows
# no LibTorch and fits all of them.
set(_hvd_were_global ${CMAKE_FIND_PACKAGE_TARGETS_GLOBAL})
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON) # LibTorch's targets name each other in every folder where they are linked
find_package(Torch QUIET)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ${_hvd_were_global})
if(NOT Torch_FOUND)
  set(horovod_cpp_torch_FOUND FALSE)
  set(horovod_cpp_torch_reason "component torch needs LibTorch, and find_package(Torch) does not find it. Add the folder of LibTorch \
to CMAKE_PREFIX_PATH; for a torch that pip installed: python -c 'import torch; print(torch.utils.cmake_prefix_path)'")
  return()
endif()
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  set(horovod_cpp_torch_FOUND FALSE)
  set(horovod_cpp_torch_reason "component torch does not fit the LibTorch in ${TORCH_INSTALL_PREFIX}, which was built with the old C++ \
ABI (_GLIBCXX_USE_CXX11_ABI=0). Take the build of LibTorch that is named cxx11-abi")
  return()
endif()

set(horovod_cpp_torch_FOUND TRUE)
if(NOT TARGET horovod_cpp_torch)
  include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake)
  list(TRANSFORM HVD_TORCH_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
  # Static: a program that is copied elsewhere needs no further file. Link it into one executable or shared object of a process, as it
  # holds the process's own Session.
  add_library(horovod_cpp_torch STATIC EXCLUDE_FROM_ALL ${HVD_TORCH_SOURCES})
  add_library(horovod_cpp::torch ALIAS horovod_cpp_torch)
  get_filename_component(horovod_cpp_torch_root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
  target_include_directories(horovod_cpp_torch PRIVATE ${horovod_cpp_torch_root})
  target_link_libraries(horovod_cpp_torch PUBLIC horovod_cpp::core ${TORCH_LIBRARIES})
  # Our warnings are our business, whatever the program's own flags are.
  target_compile_options(horovod_cpp_torch PRIVATE -ffp-contract=off -w)
  # One file instead of many: most of the time goes into reading LibTorch's headers.
  set_target_properties(horovod_cpp_torch PROPERTIES POSITION_INDEPENDENT_CODE ON UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0
                        CXX_CLANG_TIDY "" CXX_CPPCHECK "" CXX_CPPLINT "" CXX_INCLUDE_WHAT_YOU_USE "")
endif()
