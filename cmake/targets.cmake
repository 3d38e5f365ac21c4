# How every part of the project is compiled.
add_library(hvd_flags INTERFACE)
target_include_directories(hvd_flags INTERFACE ${PROJECT_SOURCE_DIR})
# The same bits from every CPU and compiler: no fused multiply-add that the source does not ask for.
target_compile_options(hvd_flags INTERFACE -ffp-contract=off)
target_compile_features(hvd_flags INTERFACE cxx_std_20)
# A project that adds this one as a subdirectory chooses its own warnings.
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(hvd_flags INTERFACE -Wall -Wextra $<$<BOOL:${HVD_WERROR}>:-Werror>)
endif()
target_compile_definitions(hvd_flags INTERFACE HVD_VERSION="${PROJECT_VERSION}")
target_link_libraries(hvd_flags INTERFACE Threads::Threads)

# hvd_part(NAME SOURCES ... LINK ...): one folder of the core, as a static library that the shared one takes whole.
function(hvd_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${PART_SOURCES})
  target_link_libraries(${name} PUBLIC hvd_flags ${PART_LINK})
endfunction()

# hvd_plugin(NAME SOURCES ... LINK ...): a shared object that is loaded at run time and exports its entry only.
function(hvd_plugin name)
  cmake_parse_arguments(PLUGIN "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} MODULE ${PLUGIN_SOURCES})
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                           LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/horovod_cpp)
  target_link_libraries(${name} PRIVATE hvd_flags hvd_base ${PLUGIN_LINK})
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
endfunction()

# Most of the time goes into reading LibTorch's headers: 12 to 35 s a file. Names in anonymous namespaces must not clash within a target.
# clang-tidy looks at files one by one: ./dev lint configures without.
option(HVD_UNITY "Compile several of the files that see LibTorch at once" ON)
function(hvd_read_torch_once target files)
  if(HVD_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${files})
  endif()
endfunction()
